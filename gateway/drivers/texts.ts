/** Members' texts on their way to a service: one that it cannot take must not spoil the others of its batch. */

/** Asks only for texts that say something, `blank` answers for the rest. The order is kept. */
export async function askForContent<Answer>(
  texts: readonly string[],
  blank: (text: string) => Answer,
  ask: (texts: readonly string[]) => Promise<readonly Answer[]>,
): Promise<readonly Answer[]> {
  const speaking = texts.filter(hasContent)
  const answers = (speaking.length === 0 ? [] : await ask(speaking.map(wellFormed))).values()
  return texts.map((text) => (hasContent(text) ? answers.next().value : undefined) ?? blank(text))
}

function hasContent(text: string): boolean {
  return text.trim() !== ''
}

/** Half a surrogate pair is JSON that readers refuse. */
function wellFormed(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd')
}
