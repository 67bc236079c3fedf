/** Where the service's page is: there people decide, and there links of those without JupyterLab lead. */
import { queryOptions, useQuery } from '@tanstack/react-query';

import { useApi } from './context';
import { answered } from './client';

/** Its URL, with a slash at its end; null where there is none, undefined until that is known. */
export function useServicePage(): string | null | undefined {
  const { v1 } = useApi();
  const { data } = useQuery(queryOptions({ queryKey: ['server', 'page'], queryFn: () => answered(v1.GET('/page')) }));
  return data == null ? data : new URL(data.url, window.location.href).href;
}
