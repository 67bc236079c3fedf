import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { controlOf, defaultText, type Json, type ParameterSchema, read, show } from './values';

const trans = nullTranslator.load('');
const OPTIONAL: ParameterSchema = { anyOf: [{ type: 'integer' }, { type: 'null' }], default: null };

describe('a field', () => {
  it.each<[ParameterSchema, string]>([
    [{ type: 'integer' }, 'number'],
    [{ type: 'string' }, 'text'],
    [{ type: 'string', writeOnly: true }, 'secret'],
    [{ writeOnly: true }, 'secret'],
    [{ type: 'boolean' }, 'switch'],
    [{ enum: ['a', 'b'] }, 'choice'],
    [{ type: 'array' }, 'json'],
    [OPTIONAL, 'json'],
    [{}, 'json']
  ])('fits the type %j: %s', (schema, control) => expect(controlOf(schema)).toBe(control));

  it('shows a default that JSON cannot say as its code', () => {
    expect(defaultText({ 'x-default': '1 / 3' })).toBe('1 / 3');
    expect(defaultText({ type: 'array', default: [64, 32] })).toBe('[64,32]');
    expect(defaultText({ type: 'string', default: 'churn' })).toBe('churn');
    expect(defaultText(OPTIONAL)).toBe('null');
    expect(defaultText({ type: 'integer' })).toBe('');
  });

  it.each<[ParameterSchema, Json]>([
    [{ type: 'integer' }, 7],
    [{ type: 'number' }, 1e-7],
    [{ type: 'string' }, ' 3'],
    [{ type: 'boolean' }, false],
    [{ enum: ['a', 3, '3', null] }, '3'],
    [{ enum: ['a', 3, '3', null] }, 3],
    [{ enum: ['a', 3, '3', null] }, null],
    [{ type: 'object' }, { depth: [3, null] }],
    [{}, 'plain words'],
    [{}, 'None'],
    [{}, '{"a": 1}'],
    [{}, ' padded '],
    [OPTIONAL, 7]
  ])('of the type %j gives back the value that it shows: %j', (schema, value) =>
    expect(read(schema, show(schema, value), trans)).toEqual({ value })
  );

  it.each([
    ['number', '.5', 0.5],
    ['number', '1e-4', 1e-4],
    ['integer', ' +3 ', 3],
    ['integer', '3.0', 3]
  ] as const)('of the type %s reads %s', (type, text, value) => expect(read({ type }, text, trans)).toEqual({ value }));

  it.each([
    ['number', 'deep'],
    ['number', '1e'],
    ['number', '0x10'],
    ['number', '1e999'],
    ['integer', '3.5'],
    ['integer', '9007199254740993']
  ] as const)('of the type %s says what is wrong with %s', (type, text) =>
    expect(read({ type }, text, trans)).toHaveProperty('problem')
  );

  it('reads the words of Python where JSON is written', () => expect(read(OPTIONAL, 'None', trans)).toEqual({ value: null }));

  it('leaves to the server what is no JSON', () => expect(read({ type: 'array' }, '[64', trans)).toEqual({ value: '[64' }));
});
