/** Files, which are listed by their paths, as folders. */
import type { Artifact } from '../../api';

export interface Folder {
  readonly name: string;
  readonly folders: Folder[];
  readonly files: Artifact[];
}

export function folderOf(files: readonly Artifact[]): Folder {
  const root: Folder = { name: '', folders: [], files: [] };
  for (const file of files) {
    let folder = root;
    for (const name of file.path.split('/').slice(0, -1)) {
      let inner = folder.folders.find(each => each.name === name);
      if (inner === undefined) {
        inner = { name, folders: [], files: [] };
        folder.folders.push(inner);
      }
      folder = inner;
    }
    folder.files.push(file);
  }
  return root;
}
