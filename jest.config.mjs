// Two projects: the server's tests run as native ES modules on Node, the front end's as CommonJS in jsdom.
const swc = (transformer, type, parser, target) => [
  transformer,
  {
    swcrc: false,
    sourceMaps: 'inline',
    module: { type },
    jsc: { target, parser, transform: { react: { runtime: 'classic' } } }
  }
];
const esm = { syntax: 'typescript', explicitResourceManagement: true };

/** @type {import('jest').Config} */
export default {
  // A limit against hanging, not a measure of speed.
  testTimeout: 120_000,
  // Modules stay in memory from one file to the next.
  workerIdleMemoryLimit: '2GB',
  testSequencer: '<rootDir>/test/longest-first.mjs',
  globalSetup: '<rootDir>/test/bundle.mjs',
  projects: [
    {
      displayName: 'server',
      testEnvironment: 'node',
      testMatch: ['<rootDir>/test/server/**/*.test.ts'],
      extensionsToTreatAsEsm: ['.ts', '.tsx'],
      transform: { '\\.tsx?$': swc('<rootDir>/test/transform.mjs', 'es6', esm, 'esnext') },
      modulePathIgnorePatterns: ['<rootDir>/(lib|build|server/dist|syft_sync|\\.[^/]+)/']
    },
    {
      displayName: 'labextension',
      testEnvironment: 'jsdom',
      testMatch: ['<rootDir>/test/labextension/**/*.test.{ts,tsx}'],
      setupFiles: ['<rootDir>/test/labextension/setup.cjs'],
      moduleNameMapper: {
        '^yjs$': '<rootDir>/node_modules/yjs/dist/yjs.cjs',
        '\\.(css|less)$': '<rootDir>/test/labextension/asset.cjs',
        '\\.svg$': '<rootDir>/test/labextension/asset.cjs'
      },
      transform: {
        '\\.tsx$': swc('@swc/jest', 'commonjs', { syntax: 'typescript', tsx: true }, 'es2022'),
        '\\.ts$': swc('@swc/jest', 'commonjs', { syntax: 'typescript' }, 'es2022'),
        '\\.m?js$': swc('@swc/jest', 'commonjs', { syntax: 'ecmascript' }, 'es2022')
      },
      transformIgnorePatterns: [
        '/node_modules/(?!(@jupyterlab|@jupyter|@lumino|@microsoft|@codemirror|@lezer|@rjsf|exenv-es6|lib0|yjs|y-protocols|nanoid|vscode-ws-jsonrpc|marked|robust-predicates|internmap|d3[^/]*|delaunator)/)'
      ],
      modulePathIgnorePatterns: ['<rootDir>/(lib|build|server/dist|syft_sync|\\.[^/]+)/']
    }
  ]
};
