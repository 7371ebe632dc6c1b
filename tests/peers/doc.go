// Package peers is the fault kit of the project's tests: the other sides of connections,
// scripted to do what networks and servers do at their worst. They stall, drip, flood,
// reset and end half-way; listeners take no more connections, networks go dead under
// warm connections, name servers say nothing. It knows nothing of the product, so that
// every kind of resource, and every client, can be driven through the same faults.
package peers
