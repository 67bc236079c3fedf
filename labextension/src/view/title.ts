/** What a view is called, where whoever shows it says so: a tab, the page's title. */
import { createContext, useContext, useEffect } from 'react';

export const TitleContext = createContext<(title: string) => void>(() => undefined);

/** Call the view `title`, once that is known. */
export function useTitle(title: string | undefined): void {
  const tell = useContext(TitleContext);
  useEffect(() => {
    if (title !== undefined) {
      tell(title);
    }
  }, [tell, title]);
}
