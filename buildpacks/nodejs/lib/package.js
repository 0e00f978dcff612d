// Answers the buildpack's questions about package.json, the lockfile and versions.
// Usage: node package.js NPM_DIR QUESTION [ARGUMENT...]   (in the app's folder)
'use strict'
const fs = require('fs')
const path = require('path')

const [npmDir, question, ...args] = process.argv.slice(2)
const semver = require('module').createRequire(path.join(npmDir, 'index.js'))('semver')

// Everything that can be told at once, a line each: starting node is the slow part of a repeat push.
function facts() {
  const app = readJson('package.json') || {}
  const npm = readJson(path.join(npmDir, 'package.json'))
  const engines = app.engines || {}
  const scripts = app.scripts || {}
  const [wanted, askedBy] = wantedVersion(engines.node)
  const told = {
    node_version: process.versions.node,
    npm_version: npm.version,
    wanted,
    asked_by: askedBy,
    wanted_is_valid: yesOrNo(semver.validRange(wanted) !== null),
    node_fits: yesOrNo(semver.satisfies(process.versions.node, wanted)),
    wanted_npm: engines.npm || '',
    npm_fits: yesOrNo(!engines.npm || semver.satisfies(npm.version, engines.npm)),
    npm_runs_on: (npm.engines && npm.engines.node) || '*',
    prebuild: ['heroku-prebuild'].find((name) => scripts[name]) || '',
    build_script: ['heroku-postbuild', 'build'].find((name) => scripts[name]) || '',
    locked: yesOrNo(isLocked(scripts)),
    start: JSON.stringify(startCommand(scripts)) || '',
    name: app.name || '',
    version: app.version || '',
  }
  for (const [name, value] of Object.entries(told)) {
    console.log(`${name}=${String(value).replace(/\s+/g, ' ')}`)
  }
}

function wantedVersion(engine) {
  const pinned = process.env.BP_NODE_VERSION
  if (pinned) return [pinned, 'BP_NODE_VERSION']
  if (engine) return [String(engine), 'package.json (engines.node)']
  for (const file of ['.nvmrc', '.node-version']) {
    const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n') : []
    const version = lines.map((line) => line.replace(/#.*/, '').trim()).find((line) => line)
    if (version) return [/^(node|stable|lts\/\*)$/.test(version) ? '*' : version.replace(/^v/, ''), file]
  }
  return ['*', '']
}

// With such a lockfile the same node_modules come out of every install, whatever the app's code is.
function isLocked(scripts) {
  const lock = readJson('npm-shrinkwrap.json') || readJson('package-lock.json')
  if (!lock || !lock.packages || fs.existsSync('binding.gyp')) return false
  const own = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare']
  if (own.some((name) => scripts[name])) return false
  return Object.entries(lock.packages)
    .filter(([place]) => place !== '')
    .every(([place, entry]) => place.startsWith('node_modules/') && !entry.link && !/^file:/.test(entry.resolved || ''))
}

// npm would stay in memory as the parent of the app, so it is left out where it adds nothing.
function startCommand(scripts) {
  if (scripts.start && !scripts.prestart && !scripts.poststart) return scripts.start
  if (scripts.start || scripts.prestart) return 'npm start'
  return fs.existsSync('server.js') ? 'node server.js' : undefined
}

// The newest release of a line with long-term support, which has an even number, if there is one.
function best(file) {
  const versions = [].concat(readJson(file)).filter((version) => !semver.prerelease(version)).sort(semver.rcompare)
  console.log(versions.find((version) => semver.major(version) % 2 === 0) || versions[0])
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    console.error(`${file}: ${error.message}`)
    process.exit(1)
  }
}

const yesOrNo = (condition) => (condition ? 'yes' : 'no')

const answers = {
  facts,
  best,
  satisfies: (version, range) => process.exit(semver.satisfies(version, range) ? 0 : 1),
}
answers[question](...args)
