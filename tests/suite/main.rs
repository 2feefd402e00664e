mod cluster;
mod embedded_postgres;
