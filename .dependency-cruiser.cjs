// Arrows point one way: cli, api → syftbox → library → sync, messages, index, capture → log → crypto → storage → core.
const layers = [
  ['cli', 'api'],
  ['syftbox'],
  ['library'],
  ['sync', 'messages', 'index', 'capture'],
  ['log'],
  ['crypto'],
  ['storage'],
  ['core']
];
const folder = names => `^server/src/(${names.join('|')})/`;
const CONTRACT = '^server/src/api/contract\\.ts$';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...layers.slice(1).map((names, i) => ({
      name: `${names.join('-')}-imports-upwards`,
      severity: 'error',
      from: { path: folder(names) },
      to: { path: folder(layers.slice(0, i + 1).flat()), pathNot: CONTRACT }
    })),
    ...layers
      .filter(names => names.length > 1)
      .flatMap(names =>
        names.map(name => ({
          name: `${name}-imports-its-neighbour`,
          severity: 'error',
          from: { path: folder([name]) },
          to: { path: folder(names.filter(other => other !== name)), pathNot: CONTRACT }
        }))
      )
      // The command line starts the sidecar (`serve`) and speaks its routes; the sidecar knows no command line.
      .filter(rule => rule.name !== 'cli-imports-its-neighbour'),
    {
      name: 'contract-is-types-only',
      comment: 'Below the api, and in the front end, the contract is imported for its types.',
      severity: 'error',
      from: { path: '^(labextension|server/src)/', pathNot: '^server/src/(api|cli)/' },
      to: { path: CONTRACT, dependencyTypesNot: ['type-only'] }
    },
    {
      name: 'front-end-imports-the-server',
      severity: 'error',
      from: { path: '^labextension/' },
      to: { path: '^server/', pathNot: CONTRACT }
    },
    {
      name: 'core-is-pure',
      severity: 'error',
      from: { path: folder(['core']) },
      to: {
        dependencyTypes: ['core'],
        path: '^(node:)?(fs|fs/promises|net|http|https|http2|tls|dgram|child_process|worker_threads|timers)(/|$)'
      }
    },
    {
      name: 'fsck-stands-alone',
      comment: 'It is written from docs/format.md: what the writer misunderstands it must not misunderstand too.',
      severity: 'error',
      from: { path: '^server/src/log/fsck(/|\\.ts$)' },
      to: { path: '^server/src/', pathNot: '^server/src/(log/fsck/|log/types\\.ts$|core/errors\\.ts$)' }
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } }
    },
    { name: 'not-found', severity: 'error', from: {}, to: { couldNotResolve: true } }
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.(svg|css)$|\\.d\\.ts$' },
    tsPreCompilationDeps: true,
    detectJSDocImports: false,
    tsConfig: { fileName: 'server/tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types']
    }
  }
};
