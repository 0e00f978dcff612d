'use strict'
const { createServer } = require('./app')

const port = Number(process.env.PORT) || 8080
const server = createServer()
server.listen(port, '0.0.0.0', () => console.log(`express sample listens on ${port}`))

process.on('SIGTERM', () => {
  console.log('SIGTERM: finishing the open requests')
  server.closeSockets()
  server.close(() => process.exit(0))
})
