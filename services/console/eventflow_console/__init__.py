"""Shows operators the flow of events and every attempt on record, and passes their orders on."""
