#!lua
-- Does nothing, and is refused wherever something that writes is.
return 1
