import { type ReactElement, useState } from 'react';

import type { Artifact } from '../../api';
import { size } from '../../components/figures';
import { useTrans } from '../../view';
import { type Folder, folderOf } from './folders';

interface Props {
  readonly files: readonly Artifact[];
  readonly chosen: string | null;
  readonly onChoose: (path: string) => void;
}

/** Files in their folders. */
export function Tree({ files, chosen, onChoose }: Props): ReactElement {
  const trans = useTrans();
  const root = folderOf(files);
  return (
    <nav className="jp-mlops-tree" aria-label={trans.__('Files')}>
      <Level folder={root} chosen={chosen} onChoose={onChoose} />
    </nav>
  );
}

interface LevelProps extends Omit<Props, 'files'> {
  readonly folder: Folder;
}

/** So many files of a folder are shown before the rest is asked for. */
const MANY = 500;

function Level({ folder, chosen, onChoose }: LevelProps): ReactElement {
  const trans = useTrans();
  const [isWhole, setWhole] = useState(false);
  const files = isWhole ? folder.files : folder.files.slice(0, MANY);
  return (
    <ul className="jp-mlops-list">
      {folder.folders.map(inner => (
        <li key={inner.name}>
          <Branch folder={inner} chosen={chosen} onChoose={onChoose} />
        </li>
      ))}
      {files.map(({ path, size: bytes }) => (
        <li key={path}>
          <button
            type="button"
            className="jp-mlops-row"
            aria-current={path === chosen || undefined}
            title={path}
            onClick={() => onChoose(path)}
          >
            <span className="jp-mlops-name">{path.split('/').at(-1)}</span>
            <span className="jp-mlops-number">{size(bytes ?? 0)}</span>
          </button>
        </li>
      ))}
      {files.length < folder.files.length && (
        <li>
          <button type="button" className="jp-mlops-link" onClick={() => setWhole(true)}>
            {trans.__('Show all %1', folder.files.length)}
          </button>
        </li>
      )}
    </ul>
  );
}

function Branch({ folder, chosen, onChoose }: LevelProps): ReactElement {
  const [isOpen, setOpen] = useState(true);
  return (
    <>
      <button type="button" className="jp-mlops-row" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span>
        <span className="jp-mlops-name">{folder.name}/</span>
      </button>
      {isOpen && (
        <div className="jp-mlops-branch">
          <Level folder={folder} chosen={chosen} onChoose={onChoose} />
        </div>
      )}
    </>
  );
}
