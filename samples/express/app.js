'use strict'
const express = require('express')
const http = require('node:http')
const { pipeline } = require('node:stream')
const { WebSocketServer } = require('ws')

const MILLISECONDS_MAX = 600_000

function createServer({ exit = process.exit, env = process.env } = {}) {
  const app = express()
  app.disable('x-powered-by')

  app.get('/', (request, response) => {
    response.type('text').send(`express sample, instance ${env.CF_INSTANCE_INDEX ?? '0'}\n`)
  })

  app.get('/env', (request, response) => response.json(env))

  app.get('/crash', (request, response) => {
    response.type('text').send('crashing\n', () => {})
    response.on('finish', () => {
      console.error('crash was asked for by a request')
      exit(1)
    })
  })

  app.get('/slow', (request, response) => {
    const wait = Math.min(Number(request.query.ms) || 1000, MILLISECONDS_MAX)
    const timer = setTimeout(() => response.type('text').send(`waited ${wait} ms\n`), wait)
    response.on('close', () => clearTimeout(timer))
  })

  // Each piece goes back as soon as it has come, so a client can talk and listen at once.
  app.post('/echo', (request, response) => {
    response.type(request.get('content-type') ?? 'application/octet-stream')
    response.flushHeaders()
    pipeline(request, response, () => {})
  })

  const server = http.createServer(app)
  const sockets = new WebSocketServer({ server, path: '/ws' })
  sockets.on('connection', (socket) => {
    socket.on('error', () => socket.terminate())
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  server.on('close', () => sockets.close())
  server.closeSockets = () => sockets.clients.forEach((socket) => socket.close(1001))
  return server
}

module.exports = { createServer }
