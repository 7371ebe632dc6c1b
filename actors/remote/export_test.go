package remote

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors/remote/curfewv1"
)

var (
	EncodeValue   = encodeValue
	DecodeValue   = decodeValue
	EncodeUse     = encodeUse
	DecodeUse     = decodeUse
	EncodeReceipt = encodeReceipt
	DecodeReceipt = decodeReceipt
	Permit        = Allow.permit
)

// Raw sends req as it is and returns the answer.
func (p *Peer) Raw(ctx context.Context, req *curfewv1.Request) (*curfewv1.Response, error) {
	a, err := p.node.ask(p.address, req)
	if err != nil {
		return nil, err
	}
	defer p.node.forget(a)
	p.node.send(p.gateway, req, p.node.answers)
	return p.await(ctx, a, time.Now().Add(5*time.Second))
}

// Live counts the requests of peers that are not yet answered.
func (n *Node) Live() int64 { return n.live.Load() }

// SystemOf is the actor system that a peer's node lives in.
func SystemOf(p *Peer) *actor.ActorSystem { return p.node.system }
