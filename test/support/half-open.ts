// A process that holds connections open on which it sends half of a request at most: half-open.js PORT COUNT ADDRESS.
// Those that the server cuts it opens again. Says `full` whenever all are open, and `cut` after every hundred cuts.
import { connect } from 'node:net'

const [port, count, localAddress = '127.0.0.1'] = process.argv.slice(2)
const AT_ONCE = 100
const CUTS_TOLD = 100
const beginnings = [
  '',
  'G',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Le',
  'GET / HTTP/1.1\r\nHost: x\r\nX: ',
]

let wanted = Number(count)
let connecting = 0
let begun = 0
let cut = 0

function open(): void {
  wanted -= 1
  connecting += 1
  const beginning = beginnings[begun++ % beginnings.length] ?? ''
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  socket.resume()
  socket.once('connect', () => {
    if (beginning !== '') socket.write(beginning)
    connecting -= 1
    if (wanted + connecting === 0) process.stdout.write('full\n')
    openMore()
  })
  socket.once('close', () => {
    if (socket.connecting) connecting -= 1
    wanted += 1
    cut += 1
    if (cut % CUTS_TOLD === 0) process.stdout.write('cut\n')
    openMore()
  })
}

function openMore(): void {
  while (wanted > 0 && connecting < AT_ONCE) open()
}

openMore()
