/** The page that a run of the growth benchmark writes. */
import type { Target } from '../compare/targets.js'
import { type Growth, tablesOf } from './report.js'

export function pageOf(growth: Growth, targets: readonly Target[]): string {
  const verdicts = targets.map(
    ({ name, target, measured, ok }) =>
      `- ${name}: ${target}; measured ${measured?.toFixed(1)}: ${ok ? 'met' : '**missed**'}`,
  )
  return [
    '# Growth',
    '',
    `Written by \`npm run bench:growth\` on ${growth.at.slice(0, 10)} at commit \`${growth.commit}\`, ${growth.machine}.`,
    `Load average at the end: ${growth.loadAverage.map((load) => load.toFixed(1)).join(', ')}; what else ran on the machine made`,
    'times longer, and processor time too. Medians, with the least and the most. The curve is the simplest of constant,',
    'logarithmic and linear that is near three points: an indication, no proof.',
    '',
    tablesOf(growth),
    '',
    ...verdicts,
    '',
    'Scans are an open loop with unique codes from all over the book. Viewers are on `/insights/live` without a token, on the',
    'same machine as the server. Not measured: TLS, a network, cold file caches, members with a long history.',
    '',
  ].join('\n')
}
