"""Other work on the machine, which comes and goes: does the answer hold beside it?"""
