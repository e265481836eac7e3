import type { Dirent } from 'node:fs'
import { chmod, chown, lchown, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** The unprivileged user Postgres runs as when we are root, since it refuses to be root itself. */
export interface Account {
  readonly uid: number
  readonly gid: number
  readonly name: string
}

const NOBODY: Account = { uid: 65534, gid: 65534, name: 'nobody' }

export const isRoot = (): boolean => process.getuid?.() === 0

/** The user `postgres` if the machine has one, else `nobody`. */
export async function defaultAccount(): Promise<Account> {
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '')
  for (const wanted of ['postgres', 'nobody']) {
    const fields = users
      .split('\n')
      .map((line) => line.split(':'))
      .find(([name]) => name === wanted)
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]), name: wanted }
  }
  return NOBODY
}

/** The owner of a folder, as an account. */
export async function ownerOf(folder: string): Promise<Account> {
  const { uid, gid } = await stat(folder)
  return { uid, gid, name: `uid ${uid}` }
}

/** Whether the account may pass through `folder` and every folder above it. `folder` must be a real path. */
export async function canTraverse(folder: string, account: Account): Promise<boolean> {
  for (let current = folder; ; current = dirname(current)) {
    const { uid, gid, mode } = await stat(current)
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (current === dirname(current)) return true
  }
}

/** Whether root can give the account a folder of its own here; some network and shared mounts cannot. */
export async function canHost(folder: string, account: Account): Promise<boolean> {
  if (!(await canTraverse(folder, account))) return false
  const probe = await mkdtemp(join(folder, '.probe-'))
  try {
    await chown(probe, account.uid, account.gid)
    return (await stat(probe)).uid === account.uid
  } catch {
    return false
  } finally {
    await rm(probe, { recursive: true, force: true })
  }
}

/** Makes a folder unless it is there. One that is keeps its mode; a new one has `mode` whatever the umask. */
export async function ensureFolder(path: string, mode: number): Promise<void> {
  if (await mkdir(path, { recursive: true, mode })) await chmod(path, mode)
}

/** Gives a folder and everything in it to the account. */
export async function giveTo(folder: string, account: Account): Promise<void> {
  await lchown(folder, account.uid, account.gid)
  for (const { path } of await entriesBelow(folder)) await lchown(path, account.uid, account.gid)
}

/** Everything below a folder, links not followed. */
export async function entriesBelow(folder: string): Promise<{ path: string; entry: Dirent }[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const nested = entries.map(async (entry) => {
    const path = join(folder, entry.name)
    return [{ path, entry }, ...(entry.isDirectory() ? await entriesBelow(path) : [])]
  })
  return (await Promise.all(nested)).flat()
}

/** What every Postgres program is spawned with: no environment or working folder of ours, nor our user when root. */
export function spawnOptionsFor(account: Account | undefined) {
  const { PATH = '', SystemRoot } = process.env
  return {
    cwd: '/',
    env: { PATH, LC_ALL: 'C', TZ: 'UTC', ...(SystemRoot ? { SystemRoot } : {}) },
    windowsHide: true,
    ...(account ? { uid: account.uid, gid: account.gid } : {}),
  }
}
