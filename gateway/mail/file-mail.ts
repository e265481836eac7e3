/**
 * Mail for development: each a file one can read, named `<time>-<template>-<id>.eml`.
 *
 * M1 A mail sent again overwrites its own file, also after a restart.
 * M2 A file appears whole or not at all.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Mail, type MailPort, mailKey, type Sender } from './mail.js'
import { compose, type RenderedMail } from './templates.js'

const MAILS_KEPT_MAX = 10_000
const FILE_KEY_LENGTH_MAX = 150
const FILE_PATTERN = /^\d{8}T\d{6}\.\d{3}Z-(.+)\.eml$/
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/
/** RFC 2047 allows 75 characters an encoded word; 45 bytes become 60 and are framed by 12. */
const ENCODED_WORD_BYTES_MAX = 45

export interface FileMailOptions {
  readonly directory: string
  readonly sender: Sender
  /** Wall clock, milliseconds since 1970. */
  readonly clock: () => number
  /** Past it the oldest file is removed. */
  readonly mailsKeptMax?: number
}

export class FileMail implements MailPort {
  readonly #options: FileMailOptions
  readonly #mailsKeptMax: number
  /** File name by mail, oldest first. */
  readonly #files: Map<string, string>

  private constructor(options: FileMailOptions, files: Map<string, string>) {
    this.#options = options
    this.#mailsKeptMax = options.mailsKeptMax ?? MAILS_KEPT_MAX
    this.#files = files
  }

  /** Makes the directory and learns which mails are in it. */
  static async open(options: FileMailOptions): Promise<FileMail> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 })
    const names = (await readdir(options.directory)).sort()
    const files = names.flatMap((name): [string, string][] => {
      const key = FILE_PATTERN.exec(name)?.[1]
      return key === undefined ? [] : [[key, name]]
    })
    return new FileMail(options, new Map(files))
  }

  async send(mail: Mail): Promise<void> {
    const { directory, sender, clock } = this.#options
    const rendered = compose(mail, sender)
    const nowMs = clock()
    const key = fileKey(mail)
    const name = this.#files.get(key) ?? `${compactTime(nowMs)}-${key}.eml`
    this.#files.set(key, name) // M1: before the first wait, so that two sends at once share one file
    const path = join(directory, name)
    const temporary = `${path}.${randomUUID()}.tmp`
    await writeFile(temporary, message(mail, rendered, sender, nowMs), { mode: 0o600 })
    await rename(temporary, path) // M2
    await this.#removeOldest()
  }

  async #removeOldest(): Promise<void> {
    for (const [key, name] of this.#files) {
      if (this.#files.size <= this.#mailsKeptMax) return
      this.#files.delete(key)
      await rm(join(this.#options.directory, name), { force: true })
    }
  }
}

/** A file name part that no two mails share. */
function fileKey(mail: Mail): string {
  const key = encodeURIComponent(mailKey(mail))
  if (key.length <= FILE_KEY_LENGTH_MAX) return key
  return `${mail.template}-${createHash('sha256').update(mail.id).digest('hex')}`
}

function compactTime(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]/g, '')
}

function message(mail: Mail, rendered: RenderedMail, sender: Sender, nowMs: number): string {
  const headers = [
    `From: ${displayName(sender.name)} <${sender.email}>`,
    `To: ${mail.to}`,
    `Subject: ${encodeHeader(rendered.subject)}`,
    `Date: ${new Date(nowMs).toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${createHash('sha256').update(mailKey(mail)).digest('hex').slice(0, 32)}@comptroller>`,
    `X-Mail-Id: ${encodeURIComponent(mail.id)}`,
    `X-Template: ${mail.template}`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
  ]
  return [...headers, '', ...rendered.text.split('\n')].join('\r\n')
}

function displayName(name: string): string {
  return PRINTABLE_ASCII.test(name) ? `"${name.replace(/["\\]/g, '\\$&')}"` : encodeHeader(name)
}

/** Printable ASCII as it is; anything else as RFC 2047 encoded words, cut between characters. */
function encodeHeader(text: string): string {
  if (PRINTABLE_ASCII.test(text)) return text
  const words: string[] = ['']
  for (const character of text) {
    const last = words.length - 1
    const longer = `${words[last] ?? ''}${character}`
    if (Buffer.byteLength(longer) > ENCODED_WORD_BYTES_MAX) words.push(character)
    else words[last] = longer
  }
  return words.map((word) => `=?utf-8?B?${Buffer.from(word).toString('base64')}?=`).join('\r\n ')
}
