import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test/setup.ts'],
    css: false,
    // JupyterLab's packages import style sheets and images, which Node.js does not.
    server: { deps: { inline: [/@jupyterlab/, /@jupyter\//, /@lumino/, /@rjsf/] } }
  }
});
