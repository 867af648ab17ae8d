"""What several benches share. Only `pipeline`, `stand_in` and `network_rate` import jaxfid."""
