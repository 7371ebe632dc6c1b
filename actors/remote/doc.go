// Package remote carries requests to another process: the messages of package actors as
// protobuf (curfew.v1) over protoactor's remote. It is a leaf: a program imports it, no
// other package of this module does.
//
// A Node is one process's end. It listens, takes the requests of its peers for the
// supervisor that Serve names, and its own process asks peers with Do, or by sending
// *actors.Request to Peer.PID.
//
//	node, err := remote.Start(remote.Config{Listen: "10.0.0.1:7333", TLS: …})
//	sup, err := supervisor.Start(supervisor.Under(node.System().Root))
//	err = node.Serve(sup.PID(), remote.Allow{Fetch: []string{"mirror.example:443"}})
//
//	peer, err := node.Peer("10.0.0.2:7333")
//	page, err := remote.Do(ctx, peer, resources.Fetch{URL: u}, remote.Options{Within: 5 * time.Second})
//
// # Guarantees
//
// A request has exactly one answer, and it comes no later than the request's deadline plus
// Config.Grace: the asking side keeps a timer of its own and relies on nobody. A refused
// connection, a failed handshake and a link that breaks are told at once. What was under
// way on a link that broke may have been done or not; its peer stops it and cleans up when
// it notices, which is at once for a process that died.
//
// What is left of a request's time is written when the request goes on the wire, and one
// whose time has passed is not sent, or refused on arrival. Both sides measure lengths of
// time with clocks of their own: how long the wire takes is not counted.
//
// # Who may do what
//
// Both sides show certificates, which must be signed by an authority in Config.TLS and
// name the host that was dialled. Beyond that a peer may do nothing until Serve allows it:
// each kind has a list of what may be asked for, empty by default. What would lead round
// the lists does not travel: files of the serving side, proxies, unix sockets of a Fetch,
// redirects (a 3xx is the result), variables and directories that are not listed.
//
// Everything that comes in passes a fence before remote sees it: messages other than
// curfew.v1's, to others than the gateway, or with indexes, addresses and serialisers that
// are out of range, are dropped. Answers go to the host that asked, and to no other
// unless Config.Peers names it. Panics in remote's handlers end the stream of the peer that
// caused them. So no message ends the process, stops an actor or starts one.
//
// Queues are bounded: a node reads no more from a peer that has RequestsMax requests
// or answers outstanding, takes that many of its own for each peer, and no more than
// ConnectionsMax connections in all. A message has at most MessageMaxBytes; limits of
// bodies and outputs are lowered to what fits.
//
// # What remote brings along
//
// Starting a Node silences gRPC's global logger, without a lock: a program that uses gRPC
// already should start the Node before. One process has one Node.
package remote
