/** Builds the service's page from the compiled sources: `node page.build.mjs`. */
import { rspack } from '@rspack/core';
import { fileURLToPath } from 'node:url';

const at = path => fileURLToPath(new URL(path, import.meta.url));

const compiler = rspack({
  mode: 'production',
  entry: at('lib/page/index.js'),
  output: {
    path: at('../jupyter_mlops/service/page'),
    // A name says what is in it, so that it may be cached for ever; the service knows the first by the manifest.
    filename: '[name].[contenthash].js',
    chunkFilename: '[name].[contenthash].js',
    cssFilename: '[name].[contenthash].css',
    cssChunkFilename: '[name].[contenthash].css',
    assetModuleFilename: '[name].[contenthash][ext]',
    publicPath: 'auto',
    clean: true
  },
  module: {
    rules: [
      { test: /\.css$/, type: 'css/auto' },
      { test: /\.svg$/, issuer: /\.js$/, type: 'asset/source' },
      { test: /\.m?js$/, resolve: { fullySpecified: false } }
    ]
  },
  devtool: false,
  performance: { hints: false },
  plugins: [manifest()]
});

/** Writes `manifest.json`: the files that the page begins with, in their order. */
function manifest() {
  return {
    apply(compiler) {
      const { RawSource } = compiler.webpack.sources;
      compiler.hooks.thisCompilation.tap('manifest', compilation => {
        const stage = compiler.webpack.Compilation.PROCESS_ASSETS_STAGE_REPORT;
        compilation.hooks.processAssets.tap({ name: 'manifest', stage }, () => {
          const files = compilation.entrypoints.get('main').getFiles();
          const of = ending => files.filter(file => file.endsWith(ending));
          const content = JSON.stringify({ scripts: of('.js'), styles: of('.css') });
          compilation.emitAsset('manifest.json', new RawSource(content));
        });
      });
    }
  };
}

compiler.run((error, stats) => {
  if (error) throw error;
  console.log(stats.toString({ preset: 'errors-warnings', colors: process.stdout.isTTY }));
  process.exitCode = stats.hasErrors() ? 1 : 0;
  compiler.close(() => undefined);
});
