import { describe, expect, it } from 'vitest';

import { OfflineSanitizer } from './sanitizer';

const clean = (dirty: string): string => new OfflineSanitizer().sanitize(dirty);

describe('what nobody vouches for', () => {
  it.each([
    '<script>1</script>',
    '<img src=x onerror=1>',
    '<img src="https://example.invalid/pixel.png">',
    '<img srcset="https://example.invalid/pixel.png 2x">',
    '<video poster="https://example.invalid/p.png" src="https://example.invalid/v"></video>',
    '<a href="java&#115;cript:1">x</a>',
    '<a href="data:text/html,x">x</a>',
    '<svg onload=1><script>1</script></svg>',
    '<iframe srcdoc="<script>1</script>"></iframe>',
    '<form action="https://example.invalid"><input name=password formaction="https://example.invalid"></form>',
    '<div style="background: url(https://example.invalid/x.png)">x</div>',
    '<div style="background: u\\72l(https://example.invalid/x.png)">x</div>',
    '<button data-commandlinker-command="mlops:open">x</button>',
    '<style>@import "https://example.invalid/x.css";</style>',
    '<math><mtext><table><mglyph><style><img src=x onerror=1></style></mglyph></table></mtext></math>',
    '<img src="data:image/svg+xml,<svg onload=1>">'
  ])('runs nothing, loads nothing and sends nothing: %s', dirty => {
    const told = clean(dirty);
    expect(told).not.toMatch(/<(script|iframe|svg|form|style|object|embed)|\son\w+=|javascript:|example\.invalid|data-|srcdoc/i);
    expect(told).not.toMatch(/data:(?!image\/(png|jpeg|gif|webp|bmp))/i);
  });

  it('keeps what is harmless', () => {
    const table = '<table><tbody><tr><td style="color:red">1</td></tr></tbody></table>';
    expect(clean(table)).toBe(table);
    expect(clean('<img src="data:image/png;base64,AA==">')).toContain('src="data:image/png;base64,AA=="');
  });

  it('opens links elsewhere, without a word on where they were', () => {
    const told = clean('<a href="https://example.invalid/">x</a>');
    expect(told).toContain('target="_blank"');
    expect(told).toContain('noopener noreferrer');
  });

  it('cannot be asked for', () => {
    const [field] = new DOMParser().parseFromString(clean('<input name=password>'), 'text/html').body.children;
    expect(field?.hasAttribute('disabled')).toBe(true);
    expect(field?.hasAttribute('name')).toBe(false);
  });
});
