/** Where decisions for others are made: on the service's page, since code in a notebook can drive JupyterLab. */
import { useServicePage } from '../api/servicepage';
import { toPath, type ViewAddress } from './address';
import { useHost } from './host';

/** The URL of the page on which something is decided; null when that is here, undefined until it is known. */
export function useDecisionPage(address: ViewAddress): string | null | undefined {
  const { kind } = useHost();
  const page = useServicePage();
  if (kind === 'page') {
    return null;
  }
  return page == null ? page : page + toPath(address);
}
