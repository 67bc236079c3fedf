/** What is typed into a field, and the value that it stands for. */
import type { TranslationBundle } from '@jupyterlab/translation';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A parameter in the server's words: JSON Schema. */
export interface ParameterSchema {
  readonly type?: 'array' | 'boolean' | 'integer' | 'null' | 'number' | 'object' | 'string';
  readonly enum?: readonly Json[];
  readonly anyOf?: readonly ParameterSchema[];
  readonly default?: Json;
  /** The default's code, where JSON cannot say it. */
  readonly 'x-default'?: string;
  readonly description?: string;
  /** A secret. */
  readonly writeOnly?: boolean;
}

/** How a parameter is entered. */
export type Control = 'choice' | 'json' | 'number' | 'secret' | 'switch' | 'text';

export type Reading = { readonly value: Json } | { readonly problem: string };

export function controlOf({ type, enum: choices, writeOnly = false }: ParameterSchema): Control {
  if (choices !== undefined) {
    return 'choice';
  }
  switch (type) {
    case 'boolean':
      return 'switch';
    case 'integer':
    case 'number':
      return 'number';
    case 'string':
      return writeOnly ? 'secret' : 'text';
    default:
      return writeOnly ? 'secret' : 'json';
  }
}

/** The default as its field shows it; empty when there is none. */
export function defaultText(schema: ParameterSchema): string {
  return schema.default === undefined ? (schema['x-default'] ?? '') : show(schema, schema.default);
}

/** A value as it would be typed; {@link read} gives the value back. */
export function show(schema: ParameterSchema, value: Json): string {
  const isText = ['text', 'secret'].includes(controlOf(schema));
  return typeof value === 'string' && (isText || structure(value.trim()) === value) ? value : JSON.stringify(value);
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const WHOLE = /^[+-]?\d+$/;

/** The value of what was typed. Whether it fits is the server's to say; here, whether it can be read at all. */
export function read(schema: ParameterSchema, text: string, trans: TranslationBundle): Reading {
  switch (controlOf(schema)) {
    case 'text':
    case 'secret':
      return { value: text };
    case 'number':
      return number(text.trim(), schema.type === 'integer', trans);
    default:
      return { value: structure(text.trim()) };
  }
}

function number(text: string, isWhole: boolean, trans: TranslationBundle): Reading {
  const value = Number(text);
  if (!NUMBER.test(text) || !Number.isFinite(value)) {
    return { problem: isWhole ? trans.__('Write a whole number, such as 3.') : trans.__('Write a number, such as 0.01.') };
  }
  if (isWhole && !Number.isInteger(value)) {
    return { problem: trans.__('Write a whole number, such as %1.', Math.round(value)) };
  }
  if (WHOLE.test(text) && !Number.isSafeInteger(value)) {
    return { problem: trans.__('A browser cannot pass on a whole number of this size unchanged; use the command line.') };
  }
  return { value };
}

const PYTHON: Readonly<Record<string, Json>> = { None: null, True: true, False: false };

/** The value of JSON; what is none stands for itself, and is refused by the server where no text is taken. */
function structure(text: string): Json {
  if (Object.hasOwn(PYTHON, text)) {
    return PYTHON[text] as Json;
  }
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
