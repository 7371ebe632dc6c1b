package supervisor_test
import ("testing";"net/http";"net/http/httptest";"context";"time";"curfew.example/resources";"curfew.example/supervisor";"curfew.example/timeoutpolicy")
func BenchmarkZZ(b *testing.B){
 body:=make([]byte,1024)
 srv:=httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){w.Write(body)})); defer srv.Close()
 sup,_:=supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute))); defer sup.Close()
 b.ReportAllocs()
 for b.Loop(){ if _,err:=supervisor.Do(context.Background(),sup,resources.Fetch{URL:srv.URL+"/kib"}); err!=nil {b.Fatal(err)} }
}
