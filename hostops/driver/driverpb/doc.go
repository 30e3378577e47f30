// Package driverpb is the generated form of driver.proto, the protocol between an
// agent and a driver process. It owns and starts nothing.
package driverpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative driver.proto
