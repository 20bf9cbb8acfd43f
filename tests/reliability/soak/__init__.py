"""`make soak`: the client, the hook and 500 gates at work for minutes on a Vi that answers badly one time in ten.

Eight threads create, read, change and delete flows at random; each knows what its flows must be like, down to the
generation, because nobody else writes them. Whatever the service does to the answers, no read may ever contradict
that model, each gate must open once and only when its flow is ready, and memory and open files must stay flat.
"""
