// The layers: engine ← actors ← {persistence, chain, gateway} ← the composition root (server.ts, cli.ts).
const layer = (name, from, to) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: to },
})

module.exports = {
  forbidden: [
    layer(
      'engine-imports-nothing-of-ours',
      '^engine/(?!simulator/)',
      '^(actors|gateway|persistence|chain|bench|test|engine/simulator)/|^(server|cli)\\.ts',
    ),
    layer('actors-import-only-engine', '^actors/', '^(gateway|persistence|chain|bench|test)/|^(server|cli)\\.ts'),
    layer('persistence-stays-below', '^persistence/', '^(gateway|chain|bench|test)/|^(server|cli)\\.ts'),
    layer('chain-stays-below', '^chain/', '^(gateway|persistence|bench|test)/|^(server|cli)\\.ts'),
    layer('gateway-stays-above', '^gateway/', '^(persistence|chain|bench|test)/|^(server|cli)\\.ts'),
    layer(
      'simulator-stands-outside',
      '^(actors|gateway|persistence|chain|bench)/|^(server|core|cli)\\.ts',
      '^engine/simulator/',
    ),
    layer('simulator-runs-no-server', '^engine/simulator/', '^(chain|bench|test)/|^(server|core|cli)\\.ts'),
    layer(
      'engine-does-no-io',
      '^engine/(?!simulator/)',
      '^(node:)?(fs|net|http|https|child_process|worker_threads|timers)',
    ),
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|node_modules|docs|scripts)/' },
  },
}
