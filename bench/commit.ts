import { execFileSync } from 'node:child_process'

/** The commit that is measured, as far as git knows. */
export function commit(): string {
  try {
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: [...stdio] }).trim()
  } catch {
    return 'unknown'
  }
}
