/** A field with its name, its description and what is wrong with it. */
import type { FieldTemplateProps } from '@rjsf/utils';
import type { ReactElement } from 'react';

export function FieldTemplate({
  id,
  label,
  schema,
  rawErrors = [],
  rawDescription = '',
  children
}: FieldTemplateProps): ReactElement {
  if (schema.type === 'object') {
    return <>{children}</>;
  }
  return (
    <div className="jp-mlops-field">
      <label htmlFor={id}>{label}</label>
      <div>
        {children}
        {rawDescription !== '' && (
          <p id={descriptionId(id)} className="jp-mlops-description">
            {rawDescription}
          </p>
        )}
        {rawErrors.length > 0 && (
          <p id={errorId(id)} className="jp-mlops-problem" role="alert">
            {rawErrors.join(' ')}
          </p>
        )}
      </div>
    </div>
  );
}

// As @rjsf names them, whose own widgets refer to them.
const descriptionId = (id: string): string => `${id}__description`;
const errorId = (id: string): string => `${id}__error`;

/** The ids of what tells more about a field. */
export function describedBy(id: string, hasDescription: boolean, errors: readonly string[] = []): string | undefined {
  const ids = [...(hasDescription ? [descriptionId(id)] : []), ...(errors.length > 0 ? [errorId(id)] : [])];
  return ids.length > 0 ? ids.join(' ') : undefined;
}
