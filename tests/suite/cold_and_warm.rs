//! Cold and warm answers are the same on a large random world.

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use crate::cluster::database;
use crate::stored::Stored;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[tokio::test]
async fn the_stored_world_has_the_shape_that_it_says() {
    let database = database().await;
    let world = Stored::write(&database.url, "acme", 100_000).await.expect("writes");
    let mut connection = AsyncPgConnection::establish(&database.url).await.expect("connects");
    let mut count = async |sql: &str| {
        let sql = format!("SELECT count(*)::bigint AS count FROM {sql}");
        let row: Count = diesel::sql_query(sql).get_result(&mut connection).await.expect("counts");
        row.count
    };
    assert_eq!(world.portfolio(0), "acme-portfolio-0");
    let per = |key: &str, of: &str, condition: &str, each: i64| {
        format!(
            "(SELECT FROM {of} WHERE {condition} GROUP BY {key} HAVING count(*) = {each} \
                 AND count(DISTINCT (portfolio, subject_id)) = {each}) AS t"
        )
    };
    let (to_user, to_group) = ("subject_kind = 'user'", "subject_kind = 'group'");
    assert_eq!(count("grants").await, 100_000);
    assert_eq!(count(&per("portfolio", "grants", to_user, 80)).await, 1_000);
    assert_eq!(count(&per("portfolio", "grants", to_group, 20)).await, 1_000);
    assert_eq!(count(&per("subject_id", "grants", to_user, 10)).await, 8_000);
    let of_user = "(SELECT FROM group_members WHERE member_kind = 'user' GROUP BY member_id \
                   HAVING count(*) = 10) AS t";
    assert_eq!(count(of_user).await, 8_000);
}
