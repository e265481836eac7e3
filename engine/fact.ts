import type { z } from 'zod'

/** Something that became true, named in the past tense. Feeds tables, feeds, drivers and insights. */
export interface Fact {
  readonly type: string
}

export type FactOf<Type extends string, Schema extends z.ZodType> = Readonly<{ type: Type } & z.output<Schema>>

/** Declares a fact: `make` builds one, `schema` checks one (in tests and audits; inside, types are trusted). */
export function defineFact<Type extends string, Schema extends z.ZodType>(type: Type, schema: Schema) {
  return {
    type,
    schema,
    make: (fields: z.output<Schema>): FactOf<Type, Schema> => ({ type, ...(fields as object) }) as FactOf<Type, Schema>,
  }
}
