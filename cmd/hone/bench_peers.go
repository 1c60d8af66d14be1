package main

func (t *benchTable) peers() error { return nil }
