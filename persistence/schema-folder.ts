import { fileURLToPath } from 'node:url'

/** Where the migrations are, seen from dist/. */
export const schemaFolder = fileURLToPath(new URL('../../persistence/schema', import.meta.url))
