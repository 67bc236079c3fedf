import { type ReactElement, useEffect, useRef } from 'react';

interface Props {
  readonly text: string;
  /** The name of its language; null to leave it uncoloured. */
  readonly language: string | null;
}

/** The source of a cell, coloured by JupyterLab's editor once that is there. */
export function Source({ text, language }: Props): ReactElement {
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    if (language === null) {
      return;
    }
    let isGone = false;
    const colour = async (): Promise<void> => {
      const { languageRegistry } = await import('../../components/rendered/registry');
      const languages = languageRegistry();
      const coloured = document.createElement('code');
      await languages.highlight(text, languages.findByName(language) ?? languages.findBest(language), coloured);
      if (!isGone) {
        place.current?.replaceChildren(...coloured.childNodes);
      }
    };
    // Uncoloured, it can be read as well.
    colour().catch(() => undefined);
    return () => {
      isGone = true;
    };
  }, [text, language]);
  return (
    <pre className="jp-mlops-plain jp-mlops-source" tabIndex={0}>
      <code key={`${language ?? ''}\n${text}`} ref={place}>
        {text}
      </code>
    </pre>
  );
}
