import jupyter from '@jupyter/eslint-plugin';
import globals from 'globals';
import tseslint from 'typescript-eslint';

/** Every rule of Jupyter's plugin is an error: a warning nobody stops at is no rule. */
const jupyterRules = Object.fromEntries(
  Object.keys(jupyter.rules)
    .filter(name => name !== 'no-schema-enum')
    .map(name => [`jupyter/${name}`, 'error'])
);
const galataRules = Object.keys(jupyterRules).filter(name => /galata|snapshots/.test(name));
const off = names => Object.fromEntries(names.map(name => [name, 'off']));
const schemaConfig = jupyter.configs.recommended.find(config => config.files.includes('**/schema/*.json'));

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      'lib/',
      'build/',
      '**/dist/',
      'syft_sync/',
      'examples/',
      '.*/',
      'test-results/',
      'playwright-report/',
      '**/fixtures/'
    ]
  },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [...tseslint.configs.strict],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { arguments: false, attributes: false } }
      ],
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      // A promise that is returned from beside `await using` goes on behind the disposal.
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' }
      ],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true, named: true } }],
      curly: ['error', 'multi-line'],
      eqeqeq: 'error'
    }
  },
  {
    // Node ends the process when a file that it reads and decodes in one go cannot be closed.
    files: ['server/src/**/*.ts'],
    ignores: ['server/src/storage/read-text.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "CallExpression[callee.name='readFileSync'][arguments.length>1]",
          message: 'Use readText of storage/read-text.ts.'
        },
        {
          selector: "ImportDeclaration[source.value='zod'] > ImportSpecifier",
          message: 'import * as z: by its name all of zod comes into what each command loads.'
        }
      ]
    }
  },
  {
    // JupyterLab finds the plugins, Playwright and Jest their configuration, in the default export.
    files: ['labextension/index.ts', 'labextension/*.d.ts', '**/*.config.ts'],
    rules: { 'no-restricted-exports': 'off' }
  },
  {
    files: ['labextension/**/*.{ts,tsx}'],
    plugins: { jupyter },
    rules: {
      ...jupyterRules,
      ...off(galataRules),
      // JupyterLab's own packages say the options of a class in a namespace of its name.
      '@typescript-eslint/no-namespace': 'off',
      // Panel, drive and connection are registered at activation; all of the front end is one small chunk.
      'jupyter/prefer-lazy-imports': [
        'error',
        {
          ignoreImports: ['client', 'history', 'messages', 'preview', 'restore', 'status'].map(
            folder => `../${folder}/*`
          )
        }
      ]
    }
  },
  {
    files: ['ui-tests/**/*.ts'],
    plugins: { jupyter },
    rules: Object.fromEntries(galataRules.map(name => [name, 'error']))
  },
  {
    // A test may know what it just made.
    files: ['test/**/*.{ts,tsx}', 'ui-tests/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' }
  },
  {
    ...schemaConfig,
    files: ['schema/*.json'],
    plugins: { jupyter },
    rules: { 'jupyter/no-schema-enum': 'error' }
  },
  {
    files: ['**/*.{mjs,cjs,js}'],
    languageOptions: { globals: globals.node, ecmaVersion: 'latest' },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      curly: ['error', 'multi-line'],
      eqeqeq: 'error'
    }
  },
  {
    files: ['test/labextension/*.cjs'],
    languageOptions: { globals: { ...globals.browser, ...globals.node } }
  }
);
