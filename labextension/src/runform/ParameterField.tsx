/** One parameter: its value, or with *Sweep* its values. */
import type { FieldProps } from '@rjsf/utils';
import type { ReactElement } from 'react';

import { useTrans } from '../view';
import { type Entry, NO_ENTRY } from './draft';
import { describedBy } from './FieldTemplate';
import { controlOf, defaultText, type Json, type ParameterSchema, show } from './values';

export function ParameterField({ formData, onChange, uiSchema, idSchema, name, rawErrors, schema }: FieldProps): ReactElement {
  const trans = useTrans();
  const parameter = (uiSchema?.['ui:options'] as { parameter: ParameterSchema }).parameter;
  const entry = (formData as Entry | undefined) ?? NO_ENTRY;
  const become = (changed: Entry): void => void onChange(changed);
  const isSecret = controlOf(parameter) === 'secret';
  const input: InputProps = {
    id: idSchema.$id,
    entry,
    parameter,
    attributes: {
      'aria-invalid': (rawErrors ?? []).length > 0,
      'aria-describedby': describedBy(idSchema.$id, schema.description !== undefined, rawErrors)
    },
    onType: text => become({ ...entry, text })
  };
  return (
    <div className="jp-mlops-parameter">
      {entry.isSwept ? <Space {...input} /> : <Value {...input} />}
      {!isSecret && (
        <button
          type="button"
          className="jp-mlops-toggle"
          aria-pressed={entry.isSwept}
          aria-label={trans.__('Sweep %1', name)}
          title={trans.__('Several values instead of one')}
          onClick={() => become(entry.isSwept ? NO_ENTRY : { text: begun(parameter, entry.text), isSwept: true })}
        >
          {trans.__('Sweep')}
        </button>
      )}
    </div>
  );
}

interface InputProps {
  readonly id: string;
  readonly entry: Entry;
  readonly parameter: ParameterSchema;
  readonly attributes: Readonly<Record<string, boolean | string | undefined>>;
  readonly onType: (text: string) => void;
}

/** The values of an axis, in the grammar that the server reads. */
function Space({ id, entry, parameter, attributes, onType }: InputProps): ReactElement {
  const trans = useTrans();
  const isNumber = controlOf(parameter) === 'number';
  return (
    <input
      id={id}
      type="text"
      className="jp-mod-styled"
      spellCheck={false}
      autoComplete="off"
      value={entry.text}
      placeholder={isNumber ? '0.01, 0.1   3:9:2   log(1e-4, 1e-1, 4)' : trans.__('values, with commas between them')}
      title={isNumber ? trans.__('A list, a range start:stop:step, or log(start, stop, how many)') : undefined}
      onChange={event => onType(event.target.value)}
      {...attributes}
    />
  );
}

function Value({ id, entry, parameter, attributes, onType }: InputProps): ReactElement {
  const trans = useTrans();
  const control = controlOf(parameter);
  if (control === 'switch') {
    const isOn = (entry.text || defaultText(parameter)) === 'true';
    return (
      <input
        id={id}
        type="checkbox"
        role="switch"
        checked={isOn}
        onChange={event => onType(String(event.target.checked))}
        {...attributes}
      />
    );
  }
  if (control === 'choice') {
    const first = parameter.default === undefined ? trans.__('no default') : trans.__('%1 (default)', words(parameter.default));
    const others = (parameter.enum ?? []).filter(choice => choice !== parameter.default);
    return (
      <select id={id} className="jp-mod-styled" value={entry.text} onChange={event => onType(event.target.value)} {...attributes}>
        <option value="">{first}</option>
        {others.map(choice => (
          <option key={JSON.stringify(choice)} value={show(parameter, choice)}>
            {words(choice)}
          </option>
        ))}
      </select>
    );
  }
  const isSecret = control === 'secret';
  return (
    <input
      id={id}
      type={isSecret ? 'password' : 'text'}
      className="jp-mod-styled"
      spellCheck={false}
      autoComplete={isSecret ? 'new-password' : 'off'}
      inputMode={control === 'number' ? 'decimal' : undefined}
      value={entry.text}
      placeholder={isSecret ? trans.__('not kept') : defaultText(parameter) || trans.__('no default')}
      onChange={event => onType(event.target.value)}
      {...attributes}
    />
  );
}

function words(choice: Json): string {
  return typeof choice === 'string' ? choice : JSON.stringify(choice);
}

/** What an axis begins with: all there is to choose from, else the value that was typed. */
function begun(parameter: ParameterSchema, text: string): string {
  switch (controlOf(parameter)) {
    case 'switch':
      return 'true, false';
    case 'choice':
      return (parameter.enum ?? []).map(words).join(', ');
    default:
      return text;
  }
}
