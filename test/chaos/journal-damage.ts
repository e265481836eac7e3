// Thousands of small injuries to journals at rest: one byte flipped, or one file cut short. Each must be detected, at its
// place, or do no harm; never may a start come up with a state that is not the true one.
//
// Three journals are hurt, the same records each: one that was stopped (everything in it was told to clients), one whose
// process was killed (its last frame is whole and was told to nobody) and one whose power was cut (its last frame is
// torn, and its mark is behind what was told). Postgres has applied nothing, some, or as much as it can have.
//
// After a power cut, records above both marks, that of the journal and that of Postgres, have no witness but the last
// frames themselves. What damage takes of those is counted apart, as `lost above every mark`.
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../engine/simulator/random.js'
import { MARK_NAME } from '../../persistence/journal/durable-mark.js'
import { JournalDamagedError } from '../../persistence/journal/errors.js'
import { openFileJournal } from '../../persistence/journal/file-journal.js'
import { type JournalFiles, nodeFiles } from '../../persistence/journal/files.js'
import { type VerifyResult, verifyJournal } from '../../persistence/journal/inspect.js'
import { HandJournal, Projection } from '../support/engine.js'
import { type Image, makeImage, recordsOfABank, type Span } from '../support/journal-image.js'
import { portraitOf } from '../support/journal-portrait.js'

export interface DamageCampaignOptions {
  /** How many bytes to flip, one at a time. */
  readonly flips: number
  /** How many times to cut a file short. */
  readonly truncations: number
  readonly seed: number
  readonly onProgress?: (done: number) => void
}

export const outcomes = ['detected', 'harmless', 'cut, told to nobody', 'lost above every mark', 'WRONG'] as const
export type Outcome = (typeof outcomes)[number]

export interface DamageCampaignSummary {
  readonly seed: number
  readonly flips: Record<Outcome, number>
  readonly truncations: Record<Outcome, number>
  /** How many `journal verify` named at its place, although a start would not have read it. */
  readonly namedByVerifyOnly: number
  /** How many only a start could detect, because Postgres knew better than the journal. */
  readonly knownByPostgresOnly: number
  /** The same by what was hit. */
  readonly regions: Record<string, Partial<Record<Outcome, number>>>
  /** What went wrong, so told that it can be repeated with the same seed; at most FAILURES_TOLD_MAX. */
  readonly failures: readonly string[]
}

const FAILURES_TOLD_MAX = 20
/** A case that asks for more of the disk than this goes round in circles. */
const CALLS_MAX = 5_000

interface Damage {
  readonly region: string
  readonly file: string
  /** The byte flipped, or the new size of the file. */
  readonly at: number
  /** What the byte is xored with; absent when the file is cut. */
  readonly mask?: number
}

interface Verdict {
  readonly outcome: Exclude<Outcome, 'WRONG'>
  readonly namedBy: 'both' | 'start' | 'verify' | 'none'
}

/** Hurts journals in `flips + truncations` ways, each starting from an intact one: 10 to 15 ms each. */
export async function damageCampaign(options: DamageCampaignOptions): Promise<DamageCampaignSummary> {
  const { flips, truncations, seed, onProgress = () => {} } = options
  const root = mkdtempSync(join(tmpdir(), 'comptroller-damage-'))
  try {
    const infirmary = await Infirmary.open(root, seed)
    const tally = new Tally(seed)
    for (let number = 0; number < flips + truncations; number += 1) {
      const random = new Random(seed, `case ${number}`)
      const image = random.pick(infirmary.images)
      const damage = number < flips ? flip(image, random) : truncation(image, random)
      const appliedSeq = random.pick(appliedSeqsOf(image))
      await tally.count(image, damage, appliedSeq, infirmary.treat(image, damage, appliedSeq))
      onProgress(number + 1)
    }
    return tally.summary
  } finally {
    rmSync(root, { recursive: true })
  }
}

/** Every kind of region is as likely as every other, however few bytes it has. */
function flip({ files, spans }: Image, random: Random): Damage {
  const region = random.pick([...new Set(spans.map((span) => span.region))])
  const { file, from, to } = random.pick(spans.filter((span) => span.region === region && span.to > span.from))
  const at = random.int(from, to - 1)
  const byte = files.get(file)?.[at] ?? 0
  const isOnlyByte = region.endsWith('only byte of a sector') && byte !== 0
  return { region, file, at, mask: isOnlyByte ? byte : random.int(1, 255) }
}

/** Mostly of the newest segment, often where a header or a frame ends. */
function truncation({ files, units }: Image, random: Random): Damage {
  const newest = units.at(-1)?.file ?? MARK_NAME
  const file = random.chance(0.6) ? newest : random.pick([...files.keys()])
  const ends = units.filter((unit) => unit.file === file).map(({ from }) => from)
  const size = files.get(file)?.length ?? 0
  const isAtEnd = random.chance(0.3)
  const at = isAtEnd ? random.pick(random.chance(0.3) ? ends.slice(0, 2) : ends) : random.int(0, size - 1)
  const which = file === newest ? 'the newest segment' : 'an older segment'
  return { region: `cut: ${file === MARK_NAME ? 'mark' : which}`, file, at }
}

/** How far Postgres may be: nowhere, somewhere, or as far as it can be for the tail to be a question. */
function appliedSeqsOf({ name, acknowledgedSeq, markSeq }: Image): number[] {
  const most = name === 'power cut' ? markSeq + 4 : acknowledgedSeq
  return [0, Math.floor(most / 2), most]
}

/** Real files, at once. What a sync does is not the question here, and would take most of the time. */
const quickFiles: JournalFiles = {
  ...nodeFiles,
  datasync: async () => {},
  syncDirectory: async () => {},
  openToRead: async (path) => openSync(path, 'r'),
  read: async (fd, into, position) => readSync(fd, into, 0, into.length, position),
  size: async (fd) => fstatSync(fd).size,
  close: async (fd) => closeSync(fd),
}

/** Where the injuries are made and looked at. */
class Infirmary {
  readonly #stores = new Map<number, Projection>()
  readonly #portraits = new Map<string, string>()
  #calls = 0
  readonly #files: JournalFiles = { ...quickFiles }

  private constructor(
    readonly bodies: readonly Uint8Array[],
    readonly images: Image[],
  ) {
    const { list, read } = this.#files
    this.#files.list = (directory) => this.#called(() => list(directory))
    this.#files.read = (fd, into, position) => this.#called(() => read(fd, into, position))
  }

  static async open(root: string, seed: number): Promise<Infirmary> {
    const frames = await recordsOfABank(seed)
    const infirmary = new Infirmary(frames.flat(), [])
    for (const name of ['stopped', 'killed', 'power cut'] as const) {
      const image = await makeImage(name, join(root, name), frames, infirmary.#files)
      const found = await infirmary.#start(image, 0)
      if (found !== image.lastSeq) throw new Error(`${name}, unhurt: ${found} instead of ${image.lastSeq}`)
      infirmary.#restore(image)
      infirmary.images.push(image)
    }
    return infirmary
  }

  /** Injures, looks, and heals. Throws what is wrong. */
  async treat(image: Image, damage: Damage, appliedSeq: number): Promise<Verdict> {
    inflict(image.directory, damage)
    try {
      const before = contentsOf(image.directory)
      this.#calls = 0
      const verified = await verifyJournal(image.directory, undefined, this.#files)
      const found = await this.#start(image, appliedSeq)
      if (typeof found !== 'number') checkLeftAlone(image, damage, before, contentsOf(image.directory))
      return judge(image, damage, appliedSeq, verified, found)
    } finally {
      this.#restore(image)
    }
  }

  /** As a server starts on it: the last record it came up with, in the state it ought to have then, or the damage. */
  async #start({ directory }: Image, appliedSeq: number): Promise<number | JournalDamagedError> {
    const listener = { onDurable: () => {}, onFailure: () => {} }
    const options = { directory, files: this.#files, listener, knownDurableSeq: appliedSeq }
    try {
      const { journal } = await openFileJournal(options)
      try {
        const { lastSeq } = journal
        const portrait = await portraitOf(journal, this.#store(appliedSeq))
        if (portrait !== (await this.#truth(lastSeq, appliedSeq))) throw new Error(`a false state at record ${lastSeq}`)
        return lastSeq
      } finally {
        await journal.close()
      }
    } catch (error) {
      if (error instanceof JournalDamagedError) return error
      throw error
    }
  }

  async #truth(lastSeq: number, appliedSeq: number): Promise<string> {
    const key = `${lastSeq} on ${appliedSeq}`
    const journal = new HandJournal(this.bodies.slice(0, lastSeq))
    journal.isInstant = true
    const truth = this.#portraits.get(key) ?? (await portraitOf(journal, this.#store(appliedSeq)))
    this.#portraits.set(key, truth)
    return truth
  }

  #store(appliedSeq: number): Projection {
    let store = this.#stores.get(appliedSeq)
    if (store === undefined) {
      store = new Projection()
      for (const body of this.bodies.slice(0, appliedSeq)) store.apply(body)
      this.#stores.set(appliedSeq, store)
    }
    return store
  }

  #restore({ directory, files }: Image): void {
    const found = contentsOf(directory)
    for (const [name, bytes] of files) {
      if (found.get(name)?.equals(bytes) !== true) writeFileSync(join(directory, name), bytes)
    }
    for (const name of found.keys()) if (!files.has(name)) rmSync(join(directory, name))
  }

  #called<Result>(act: () => Promise<Result>): Promise<Result> {
    this.#calls += 1
    return this.#calls > CALLS_MAX ? Promise.reject(new Error('it reads the same for ever')) : act()
  }
}

function inflict(directory: string, { file, at, mask }: Damage): void {
  const path = join(directory, file)
  const fd = openSync(path, 'r+')
  if (mask === undefined) ftruncateSync(fd, at)
  else writeSync(fd, Buffer.of((readFileSync(path)[at] ?? 0) ^ mask), 0, 1, at)
  closeSync(fd)
}

type Contents = ReadonlyMap<string, Buffer>

function contentsOf(directory: string): Contents {
  return new Map(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name))]))
}

/**
 * What is damaged stays as it is. Damage further up is found only when its records are read, after the torn tail was cut
 * and the mark was moved on: never less than what was told to clients is left then.
 */
function checkLeftAlone(image: Image, damage: Damage, before: Contents, after: Contents): void {
  for (const [name, bytes] of before) {
    const now = after.get(name)
    if (now?.equals(bytes) === true) continue
    const isCut = name === image.units.at(-1)?.file && now?.equals(bytes.subarray(0, now.length)) === true
    if (name === damage.file || !(isCut || name === MARK_NAME))
      throw new Error(`the start was refused and changed ${name}`)
  }
}

/** What the injury came to; throws when that is not allowed. */
function judge(
  image: Image,
  damage: Damage,
  appliedSeq: number,
  { problem }: VerifyResult,
  found: number | JournalDamagedError,
): Verdict {
  const unit = unitOf(image, damage)
  if (problem !== undefined) checkPlace(problem, damage, unit, 'verify')
  if (typeof found !== 'number') {
    checkPlace(found, damage, unit, 'the start')
    if (problem !== undefined) return { outcome: 'detected', namedBy: 'both' }
    const isForPostgres = found.what.includes('known to have been durable') && found.expectedSeq > image.markSeq
    if (!isForPostgres) throw new Error('the start was refused, yet verify finds nothing')
    return { outcome: 'detected', namedBy: 'start' }
  }
  const namedBy = problem === undefined ? 'none' : 'verify'
  const outcome = outcomeOf(image, appliedSeq, found)
  const isInWhole = damage.mask !== undefined && !['mark', 'unacknowledged frame'].includes(unit.region)
  if (isInWhole && outcome === 'harmless' && problem === undefined) throw new Error('verify does not see it')
  return { outcome, namedBy }
}

function outcomeOf(image: Image, appliedSeq: number, lastSeq: number): Verdict['outcome'] {
  if (lastSeq === image.lastSeq) return 'harmless'
  if (lastSeq > image.lastSeq) throw new Error(`it found record ${lastSeq}, which there never was`)
  if (lastSeq >= image.acknowledgedSeq) return 'cut, told to nobody'
  const isAboveMarks = lastSeq >= Math.max(image.markSeq, appliedSeq)
  if (image.name === 'power cut' && isAboveMarks) return 'lost above every mark'
  throw new Error(`it lost records from ${lastSeq + 1} on, though clients know of ${image.acknowledgedSeq}`)
}

/** The header or frame that was hit; what is cut off begins within it. */
function unitOf({ units }: Image, { file, at }: Damage): Span {
  const unit = units.find((each) => each.file === file && each.from <= at && at < each.to)
  if (unit === undefined) throw new Error(`nothing is known of byte ${at} of ${file}`)
  return unit
}

function checkPlace(
  told: { readonly file: string; readonly offset: number },
  { file, at }: Damage,
  unit: Span,
  by: string,
): void {
  if (told.file.endsWith(`/${file}`) && told.offset >= unit.from && told.offset <= at) return
  throw new Error(`${by} says ${told.file.slice(told.file.lastIndexOf('/') + 1)} at ${told.offset}`)
}

const noneYet = (): Record<Outcome, number> =>
  Object.fromEntries(outcomes.map((outcome) => [outcome, 0])) as Record<Outcome, number>

class Tally {
  readonly #failures: string[] = []
  readonly #regions: DamageCampaignSummary['regions'] = {}
  readonly #counts = { flips: noneYet(), truncations: noneYet(), namedByVerifyOnly: 0, knownByPostgresOnly: 0 }

  constructor(readonly seed: number) {}

  async count(image: Image, damage: Damage, appliedSeq: number, treated: Promise<Verdict>): Promise<void> {
    const counts = damage.mask === undefined ? this.#counts.truncations : this.#counts.flips
    let outcome: Outcome
    try {
      const verdict = await treated
      outcome = verdict.outcome
      if (verdict.namedBy === 'start') this.#counts.knownByPostgresOnly += 1
      if (verdict.namedBy === 'verify') this.#counts.namedByVerifyOnly += 1
    } catch (error) {
      outcome = 'WRONG'
      const what = error instanceof Error ? error.message : String(error)
      const change = damage.mask === undefined ? 'cut to' : `xor ${damage.mask} at`
      const told = `seed ${this.seed}, ${image.name}, ${damage.region}, ${damage.file} ${change} ${damage.at}`
      if (this.#failures.length < FAILURES_TOLD_MAX) this.#failures.push(`${told}, applied ${appliedSeq}: ${what}`)
    }
    counts[outcome] += 1
    const region = this.#regions[damage.region] ?? {}
    this.#regions[damage.region] = { ...region, [outcome]: (region[outcome] ?? 0) + 1 }
  }

  get summary(): DamageCampaignSummary {
    return { seed: this.seed, ...this.#counts, regions: this.#regions, failures: this.#failures }
  }
}
