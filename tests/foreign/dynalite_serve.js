// dynalite (DynamoDB, in memory) on a free port of 127.0.0.1; says which on its standard output; ends with its
// standard input, since a test that is killed outright can stop nothing.
//
//     node dynalite_serve.js NODE_MODULES
//
// One thread and a lock per key: it is atomic by construction.

const path = require('path')
const dynalite = require(path.join(path.resolve(process.argv[2]), 'dynalite'))

const server = dynalite({ createTableMs: 0, deleteTableMs: 0 })
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}.`))
process.stdin.on('end', () => process.exit(0)).resume()
