/** JupyterLab's renderers for content that nobody vouches for; loaded by the first of it that is shown. */
import { EditorLanguageRegistry, type IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { createMarkdownParser } from '@jupyterlab/markedparser-extension';
import {
  errorRendererFactory,
  htmlRendererFactory,
  imageRendererFactory,
  markdownRendererFactory,
  RenderMimeRegistry,
  textRendererFactory
} from '@jupyterlab/rendermime';

import { OfflineSanitizer } from './sanitizer';

/** Not among them: what needs a script to be seen, SVG, and the renderers that other extensions have added. */
const FACTORIES = [
  errorRendererFactory,
  htmlRendererFactory,
  imageRendererFactory,
  markdownRendererFactory,
  textRendererFactory
];

let languages: IEditorLanguageRegistry | undefined;

export function languageRegistry(): IEditorLanguageRegistry {
  if (languages === undefined) {
    languages = new EditorLanguageRegistry();
    for (const language of EditorLanguageRegistry.getDefaultLanguages()) {
      languages.addLanguage(language);
    }
  }
  return languages;
}

let registry: RenderMimeRegistry | undefined;

export function renderers(): RenderMimeRegistry {
  registry ??= new RenderMimeRegistry({
    initialFactories: FACTORIES,
    markdownParser: createMarkdownParser(languageRegistry()),
    sanitizer: new OfflineSanitizer()
  });
  return registry;
}
