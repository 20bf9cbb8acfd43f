"""`make soak`: clients, hooks and 500 gates run for minutes against a server that corrupts one response in ten.

Eight threads create, read, change and delete flows at random. Each is the only writer of its flows and keeps a model of
them, down to the generation. Whatever happens to the responses, no read may contradict the model, each gate must open
exactly once and only after its flow is ready, and memory and open files must stay flat.
"""
