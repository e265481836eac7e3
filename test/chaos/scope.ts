/** What was begun and must end, in reverse order, however the work ends. */
export class Scope {
  readonly #handlers: (() => Promise<unknown>)[] = []

  teardown(handler: () => Promise<unknown>): void {
    this.#handlers.push(handler)
  }

  async close(): Promise<void> {
    for (let handler = this.#handlers.pop(); handler !== undefined; handler = this.#handlers.pop()) await handler()
  }
}

export async function inScope<Result>(work: (scope: Scope) => Promise<Result>): Promise<Result> {
  const scope = new Scope()
  try {
    return await work(scope)
  } finally {
    await scope.close()
  }
}
