/** Who is in which rooms over all processes: members, each once, however many sockets and processes they come by. */
export const roomKinds = ['channel', 'event'] as const
export type RoomKind = (typeof roomKinds)[number]

/** What this process knows: who is in the rooms of one kind here. */
export interface Here {
  /** Keys of the rooms with somebody in them. */
  rooms(): Iterable<string>
  members(key: string): Iterable<readonly [userId: string, username: string]>
  has(key: string, userId: string): boolean
  count(key: string): number
  /** Somebody came or went in another process. */
  changed(key: string): void
}

/** The rooms of one kind, as they are in all processes together. */
export interface SharedRooms {
  /** The first socket of a member came here. */
  entered(key: string, userId: string, username: string): void
  /** The last socket of a member left here. */
  left(key: string, userId: string): void
  count(key: string): number
  /** Names of some who are elsewhere; some of those may be here, too. */
  sample(key: string): readonly string[]
}

export interface Attendance {
  share(kind: RoomKind, here: Here): SharedRooms
}

/** There is no other process. */
export const nobodyElsewhere: Attendance = {
  share: (_, here) => ({
    entered: () => {},
    left: () => {},
    count: (key) => here.count(key),
    sample: () => [],
  }),
}
