/** Starts runs and sweeps of a notebook. */
import { FormComponent } from '@jupyterlab/ui-components';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useMemo, useState } from 'react';

import { answered, type Form, type JobStatus } from '../api';
import { Failure, Loading } from '../components';
import { useApi, useTrans } from '../view';
import { useChoices } from './choices';
import { declared, type Draft, EMPTY, intentOf, schemasOf } from './draft';
import { FieldTemplate } from './FieldTemplate';
import { Footer } from './Footer';
import { ParameterField } from './ParameterField';
import { usePlan, useStart } from './planning';
import { errorSchema, merged, unplaced } from './problems';
import { NO_RULES, schemaOf, uiSchemaOf } from './schema';
import { WithoutCell } from './WithoutCell';

const FIELDS = { parameter: ParameterField };
const TEMPLATES = { FieldTemplate };

export interface RunFormProps {
  /** The notebook, as the file browser shows it. */
  readonly path: string;
  /** Names of kernels to choose from, with what people call them. */
  readonly kernels: Readonly<Record<string, string>>;
  /** What stands in the form at first. */
  readonly initial?: (form: Form) => Draft;
  readonly onStarted: (job: JobStatus, draft: Draft, form: Form) => void;
  readonly onCancel: () => void;
  /** Puts a `parameters` cell into the notebook. */
  readonly onInsertCell?: () => void;
}

export function RunForm({ path, ...props }: RunFormProps): ReactElement {
  const { server } = useApi();
  const form = useQuery({
    queryKey: ['server', 'form', path],
    queryFn: () => answered(server.GET('/notebook', { params: { query: { path } } })),
    // The notebook may have been edited.
    staleTime: 0,
    gcTime: 0
  });
  if (form.data === undefined) {
    return form.error === null ? <Loading /> : <Failure error={form.error} onRetry={() => void form.refetch()} />;
  }
  return <Fields path={path} form={form.data} {...props} />;
}

function Fields({ path, form, kernels, initial, onStarted, onCancel, onInsertCell }: RunFormProps & { readonly form: Form }): ReactElement {
  const trans = useTrans();
  const [draft, setDraft] = useState(() => declared(initial?.(form) ?? EMPTY, schemasOf(form)));
  const choices = useChoices(kernels, draft.settings);
  const { intent, problems } = useMemo(() => intentOf(path, form, draft, trans), [path, form, draft, trans]);
  const plan = usePlan(intent);
  const start = useStart();
  const found = merged(problems, plan.data?.problems);
  return (
    <FormComponent
      className="jp-mlops-runform"
      schema={schemaOf(form, draft, choices, trans)}
      uiSchema={uiSchemaOf(form, choices, trans)}
      fields={FIELDS}
      templates={TEMPLATES}
      formData={draft as never}
      extraErrors={errorSchema(found)}
      validator={NO_RULES}
      noHtml5Validate
      showErrorList={false}
      onChange={({ formData }) => setDraft(formData as unknown as Draft)}
      onSubmit={() => {
        if (!start.isPending && Object.keys(problems).length === 0) {
          start.mutate(intent, { onSuccess: job => job !== null && onStarted(job, draft, form) });
        }
      }}
    >
      {!form.has_parameters_cell && <WithoutCell onInsertCell={onInsertCell} />}
      <Footer
        plan={plan.data}
        problems={unplaced(found, schemasOf(form))}
        isSweep={(intent.grid ?? []).length > 0}
        error={start.error ?? plan.error}
        isStarting={start.isPending}
        onCancel={onCancel}
      />
    </FormComponent>
  );
}
