import { defineConfig } from 'vitest/config';

export default defineConfig({
  // As bundlers choose. Of what @rjsf has for Node.js, an import gets no default.
  resolve: { alias: [{ find: /^(@rjsf\/(?:core|utils))$/, replacement: '$1/lib/index.js' }] },
  test: {
    environment: 'jsdom',
    // What JupyterLab's packages are is read once, and not once a file.
    isolate: false,
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test/setup.ts'],
    css: false,
    // Told by a later @rjsf than JupyterLab's at each drawing of the run form.
    onConsoleLog: log => !log.includes('"enumNames" property'),
    // JupyterLab's packages import style sheets and images, which Node.js does not.
    server: { deps: { inline: [/@jupyterlab/, /@jupyter\//, /@lumino/, /@rjsf/] } }
  }
});
