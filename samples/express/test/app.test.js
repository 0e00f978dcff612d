'use strict'
const assert = require('node:assert')
const http = require('node:http')
const { once } = require('node:events')
const { after, before, test } = require('node:test')
const { WebSocket } = require('ws')
const { createServer } = require('../app')

const exits = []
const server = createServer({ exit: (code) => exits.push(code), env: { CF_INSTANCE_INDEX: '3' } })
let url

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => server.close())

test('the front page names the sample and the instance', async () => {
  const response = await fetch(url)

  assert.strictEqual(await response.text(), 'express sample, instance 3\n')
})

test('a slow answer waits as long as it was asked to', async () => {
  const response = await fetch(`${url}/slow?ms=20`)

  assert.strictEqual(await response.text(), 'waited 20 ms\n')
})

test('echo answers before the request has ended', async () => {
  const request = http.request(`${url}/echo`, { method: 'POST' })
  request.write('one')
  const [response] = await once(request, 'response')
  const [piece] = await once(response, 'data')
  request.end()

  assert.strictEqual(piece.toString(), 'one')
})

test('a WebSocket message comes back', async () => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`)
  await once(socket, 'open')
  socket.send('hello')
  const [message] = await once(socket, 'message')
  socket.close()

  assert.strictEqual(message.toString(), 'hello')
})

test('crash answers first and then exits with 1', async () => {
  const response = await fetch(`${url}/crash`)
  await response.text()

  assert.deepStrictEqual(exits, [1])
})
