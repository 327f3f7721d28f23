"""Whole runs of several devices in one process, on models of disks, network and server."""
