// Package e2e tests Tenks as people run it: the real program on hosts of a lab, with
// real libvirt, QEMU, ipmitool and Ironic. It has tests only; what they start ends
// with them.
package e2e
