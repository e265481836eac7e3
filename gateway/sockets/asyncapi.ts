/** The AsyncAPI 3.0 document of `/social/ws`, made from the schemas the events are parsed and typed by. */
import { z } from 'zod'
import { chatCommandSchemas, chatEventSchemas, refusalSchema } from './chat-events.js'

export interface SocketApiInfo {
  readonly title: string
  readonly version: string
}

const CHANNEL = 'social'
const inChannel = { $ref: `#/channels/${CHANNEL}` }

export function asyncApiDocument({ title, version }: SocketApiInfo) {
  const events = Object.entries(chatEventSchemas)
  const commands = Object.entries(chatCommandSchemas)
  const schemas: Record<string, object> = {}

  /** Schemas that have a name are put where all messages share them. */
  function messageOf(name: string, schema: z.ZodType, io: 'input' | 'output') {
    const text = JSON.stringify(z.toJSONSchema(schema, { io })).replaceAll('"#/$defs/', '"#/components/schemas/')
    const { $schema: _, $defs = {}, ...payload } = JSON.parse(text)
    Object.assign(schemas, $defs)
    return { name, contentType: 'application/json', payload }
  }

  const messages = [
    ...events.map(([name, schema]) => [eventOf(name), messageOf(name, schema, 'output')] as const),
    ...commands.map(([name, { input }]) => [commandOf(name), messageOf(name, input, 'input')] as const),
    ...commands.map(([name, { ack }]) => {
      return [ackOf(name), messageOf(`ack of ${name}`, z.union([ack, refusalSchema]), 'output')] as const
    }),
  ]
  const operations = [
    ...events.map(([name]) => [`tell-${eventOf(name)}`, operationOf('send', eventOf(name))] as const),
    ...commands.map(([name]) => {
      const reply = { channel: inChannel, messages: [refOf(ackOf(name))] }
      return [`take-${commandOf(name)}`, { ...operationOf('receive', commandOf(name)), reply }] as const
    }),
  ]
  return {
    asyncapi: '3.0.0',
    info: { title: `${title}: chat over Socket.IO`, version },
    servers: { here: { host: '{host}', protocol: 'socket.io', variables: { host: { default: 'localhost' } } } },
    channels: { [CHANNEL]: { address: '/social/ws', messages: Object.fromEntries(messages) } },
    operations: Object.fromEntries(operations),
    components: { schemas },
  }
}

/** Keys of the document may not hold a colon; one name may go both ways. */
const eventOf = (name: string) => name.replace(':', '-')
const commandOf = (name: string) => `${eventOf(name)}-command`
const ackOf = (name: string) => `${eventOf(name)}-ack`
const refOf = (key: string) => ({ $ref: `#/channels/${CHANNEL}/messages/${key}` })
const operationOf = (action: 'send' | 'receive', key: string) => ({
  action,
  channel: inChannel,
  messages: [refOf(key)],
})
